// Package distconsts takes the place of the module of that name that the
// Dagger engine is compiled with and that no module proxy serves. It says where
// this engine finds its parts, and names what an engine built for distribution
// would bring along.
package distconsts

// The parts that the engine runs. The supervisor puts them there, in a /run
// that only the engine sees.
const (
	RuncPath       = "/run/sandbox-engine/runc"
	DaggerInitPath = "/run/sandbox-engine/dagger-init"
)

// What the engine looks at or falls back to when nothing else is said.
const (
	EngineContainerName    = "dagger-engine.dev"
	DefaultEngineSockAddr  = "unix:///run/dagger/engine.sock"
	EngineDefaultStateDir  = "/var/lib/dagger"
	EngineCustomCACertsDir = "/usr/local/share/ca-certificates"
	OCIVersionAnnotation   = "org.opencontainers.image.version"
)

// The images of Dagger's module runtimes. This engine has none of them: the
// pipeline uses no Dagger modules.
const (
	EngineContainerBuiltinContentDir   = "/usr/local/share/dagger/content"
	GoSDKManifestDigestEnvName         = "DAGGER_GO_SDK_MANIFEST_DIGEST"
	PythonSDKManifestDigestEnvName     = "DAGGER_PYTHON_SDK_MANIFEST_DIGEST"
	TypescriptSDKManifestDigestEnvName = "DAGGER_TYPESCRIPT_SDK_MANIFEST_DIGEST"
)

// The images behind the engine's own conveniences, such as a terminal.
const (
	AlpineVersion = "3.22.1"
	AlpineImage   = "alpine:" + AlpineVersion
	GolangImage   = "golang:1.25.5-alpine"
	BusyboxImage  = "busybox:1.37.0"
)
