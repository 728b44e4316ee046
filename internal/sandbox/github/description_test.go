package github_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
)

const (
	describedRepo        = "/repos/{owner}/{repo}"
	describedEnvironment = describedRepo + "/environments/{environment_name}"
)

// describedCalls are the calls that the stand-in answers.
var describedCalls = []string{
	"GET " + describedRepo,
	"GET " + describedRepo + "/commits/{ref}",
	"GET " + describedRepo + "/tags",
	"GET " + describedRepo + "/branches",
	"GET " + describedRepo + "/git/ref/{ref}",
	"GET " + describedRepo + "/git/matching-refs/{ref}",
	"GET " + describedRepo + "/git/trees/{tree_sha}",
	"GET " + describedRepo + "/git/blobs/{file_sha}",
	"GET " + describedEnvironment,
	"PUT " + describedEnvironment,
	"GET " + describedEnvironment + "/deployment-branch-policies",
	"POST " + describedEnvironment + "/deployment-branch-policies",
	"GET " + describedEnvironment + "/variables",
	"POST " + describedEnvironment + "/variables",
	"PATCH " + describedEnvironment + "/variables/{name}",
	"GET " + describedEnvironment + "/secrets",
	"GET " + describedEnvironment + "/secrets/public-key",
	"PUT " + describedEnvironment + "/secrets/{secret_name}",
}

// description returns GitHub's own OpenAPI description of those calls, from the
// npm package @octokit/openapi that testdata/package.json names. The package is
// 28 MB and its description 13 MB: what is needed of it, some 100 KB, is kept in
// the user's cache folder under the package's hash.
func description(t *testing.T) *openapi3.T {
	t.Helper()
	pruned, err := cachedDescription(t.Context(), t.TempDir())
	debiantest.Require(t, err)
	loader := openapi3.NewLoader()
	described, err := loader.LoadFromData(pruned)
	if err != nil {
		t.Fatalf("read GitHub's description: %v", err)
	}
	return described
}

func cachedDescription(ctx context.Context, scratch string) ([]byte, error) {
	const name = "@octokit/openapi"
	data, err := os.ReadFile(filepath.Join("testdata", "package-lock.json"))
	if err != nil {
		return nil, err
	}
	var lock struct {
		Packages map[string]struct{ Version, Integrity string }
	}
	if err := json.Unmarshal(data, &lock); err != nil {
		return nil, fmt.Errorf("read package-lock.json: %w", err)
	}
	pinned := lock.Packages["node_modules/"+name]
	hash, isSHA512 := strings.CutPrefix(pinned.Integrity, "sha512-")
	if pinned.Version == "" || !isSHA512 {
		return nil, fmt.Errorf("read package-lock.json: %s has no version or no SHA-512", name)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	// The hash keeps a changed list of paths from meeting an old cache, too.
	key := sha512.Sum512([]byte(hash + strings.Join(describedCalls, " ")))
	cached := filepath.Join(cache, "erpnext-pipeline", fmt.Sprintf("octokit-openapi-%s-%x.json", pinned.Version, key[:8]))
	if pruned, err := os.ReadFile(cached); err == nil {
		return pruned, nil
	}
	if _, err := exec.LookPath("npm"); err != nil {
		if err := debian.Install(ctx, "npm"); err != nil {
			return nil, fmt.Errorf("fetch %s: %w", name, err)
		}
	}
	cmd := exec.CommandContext(ctx, "npm", "pack", "--silent", "--pack-destination", scratch, name+"@"+pinned.Version)
	cmd.Dir = scratch
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("npm pack %s: %w\n%s", name, err, stderr.String())
	}
	archive, err := os.ReadFile(filepath.Join(scratch, strings.TrimSpace(string(out))))
	if err != nil {
		return nil, err
	}
	if sum := sha512.Sum512(archive); base64.StdEncoding.EncodeToString(sum[:]) != hash {
		return nil, fmt.Errorf("npm pack %s: the package is not the one in package-lock.json", name)
	}
	whole, err := extract(archive, "package/generated/api.github.com.json")
	if err != nil {
		return nil, err
	}
	pruned, err := prune(whole)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(cached), 0o755); err != nil {
		return nil, err
	}
	// Another test run may be writing the same file.
	partial := fmt.Sprintf("%s.%d", cached, os.Getpid())
	if err := os.WriteFile(partial, pruned, 0o644); err != nil {
		return nil, err
	}
	return pruned, os.Rename(partial, cached)
}

func extract(archive []byte, name string) ([]byte, error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil, fmt.Errorf("extract %s: %w", name, err)
	}
	for files := tar.NewReader(unzipped); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("extract %s: not in the archive", name)
		}
		if err != nil {
			return nil, fmt.Errorf("extract %s: %w", name, err)
		}
		if header.Name == name {
			return io.ReadAll(files)
		}
	}
}

// prune keeps describedCalls and every component that they
// refer to, directly or through another one, and the plain error.
func prune(whole []byte) ([]byte, error) {
	var all struct {
		OpenAPI    string                                `json:"openapi"`
		Info       json.RawMessage                       `json:"info"`
		Paths      map[string]map[string]json.RawMessage `json:"paths"`
		Components map[string]map[string]json.RawMessage `json:"components"`
	}
	if err := json.Unmarshal(whole, &all); err != nil {
		return nil, fmt.Errorf("read GitHub's description: %w", err)
	}
	paths := map[string]map[string]any{}
	components := map[string]map[string]json.RawMessage{}
	var keep func(text json.RawMessage) error
	keepComponent := func(reference string) error {
		parts := strings.Split(strings.TrimPrefix(reference, "#/components/"), "/")
		if len(parts) != 2 {
			return fmt.Errorf("prune GitHub's description: reference %q", reference)
		}
		component, known := all.Components[parts[0]][parts[1]]
		if !known {
			return fmt.Errorf("prune GitHub's description: no %q", reference)
		}
		if components[parts[0]] == nil {
			components[parts[0]] = map[string]json.RawMessage{}
		}
		if _, kept := components[parts[0]][parts[1]]; kept {
			return nil
		}
		components[parts[0]][parts[1]] = component
		return keep(component)
	}
	keep = func(text json.RawMessage) error {
		const mark = `"$ref":`
		var compact bytes.Buffer
		if err := json.Compact(&compact, text); err != nil {
			return err
		}
		for rest := compact.String(); ; {
			at := strings.Index(rest, mark)
			if at < 0 {
				return nil
			}
			rest = rest[at+len(mark)+1:]
			end := strings.IndexByte(rest, '"')
			if err := keepComponent(rest[:end]); err != nil {
				return err
			}
		}
	}
	for _, call := range describedCalls {
		method, path, _ := strings.Cut(call, " ")
		described, known := all.Paths[path][strings.ToLower(method)]
		if !known {
			return nil, fmt.Errorf("prune GitHub's description: it has no %s", call)
		}
		if paths[path] == nil {
			paths[path] = map[string]any{}
		}
		paths[path][strings.ToLower(method)] = described
		if err := keep(described); err != nil {
			return nil, err
		}
	}
	if err := keepComponent("#/components/schemas/basic-error"); err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{"openapi": all.OpenAPI, "info": all.Info, "paths": paths, "components": components})
}
