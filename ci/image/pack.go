package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"dagger.io/dagger"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/desiredeffect/erpnext-pipeline/ci/progress"
)

// epoch is the time of files whose own time says nothing: 2020-01-01. Not
// zero, which archives can't hold.
const epoch = 1577836800

// packing says which files make a stage's layer.
type packing struct {
	// from is the folder that is packed, and at where it lies in the image.
	from *dagger.Directory
	at   string
	// owner has all files belong to one user and group, by number, and be
	// readable by all. Empty keeps owners and modes.
	owner string
	// seconds is the time that all files carry.
	seconds int64
	// exclude are tar patterns, which begin with "./".
	exclude []string
	// before is a script that runs in the folder first.
	before string
	// passing says that the layer is only for other builds: quick to make
	// rather than small.
	passing bool
	// info is a folder of small texts that go along with the stage.
	info *dagger.Directory
}

// parentsScript begins an archive with the folders above the layer's own. The
// base has them, but Docker unpacks each layer by itself, and a folder that
// came into being there without an entry would be root's.
const parentsScript = `
parent= list=
for part in $(dirname "$AT" | tr / ' '); do
	[ "$part" != . ] || continue
	parent=$parent/$part list="$list .$parent"
	install -d -m 755 "/pack/parents$parent"
	case $parent in /home/*) chown 1000:1000 "/pack/parents$parent" ;; esac
done
mkdir -p /pack/parents
tar --create --file /pack/archive --format=pax --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime \
	--numeric-owner --mtime="@$SECONDS_" --no-recursion --directory /pack/parents --transform='flags=r;s,^\./,,' --files-from /dev/null $list
`

// packScript makes a layer that depends on nothing but the files' names,
// contents and modes: sorted, with one time, without the names of users.
//
// The archive is made first, because the registry wants the digest of what is
// in the layer as well as the layer's, and libdeflate reads a whole file.
const packScript = parentsScript + packFrom + "\ntar --append --file /pack/archive" + packFiles + packOut

// longScript is packScript for names that are too long for it: what is appended is
// without tar's headers for long names, in whichever format. It makes an archive of the
// files alone, and puts that behind the folders above them, of which each is a block of
// 512 bytes. Where packScript does it too, its layer is another one to the byte, so it
// is for nothing else, and in no key.
const longScript = parentsScript + packFrom + "\ntar --create --file /pack/files" + packFiles + `
for folder in $list; do echo "$folder"; done >/pack/folders
head -c "$(($(wc -l </pack/folders) * 512))" /pack/archive >/pack/whole
cat /pack/files >>/pack/whole
mv /pack/whole /pack/archive
rm /pack/files` + packOut

// nameTooLong is what tar says then of a file's name or a link's target, before it goes
// on and ends with 2.
const nameTooLong = "name is too long"

const (
	packFrom = `
cd /pack/from
set +f
eval "$BEFORE"
set -f
set --
for pattern in $EXCLUDE; do set -- "$@" --exclude="$pattern"; done
[ -z "$OWNER" ] || set -- "$@" --owner="${OWNER%:*}" --group="${OWNER#*:}" --mode=u+rwX,go+rX,go-w`
	packFiles = ` --format=pax --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime \
	--sort=name --mtime="@$SECONDS_" --numeric-owner --no-xattrs "$@" --transform="flags=rh;s,^\.,$AT," .`
	packOut = `
openssl dgst -sha256 -r /pack/archive | cut -d ' ' -f 1 >/pack/out/diffid
if [ -n "$PASSING" ]; then
	igzip -1 --no-name -c /pack/archive >/pack/out/layer.tar.gz
else
	libdeflate-gzip -7 -n -c /pack/archive >/pack/out/layer.tar.gz
fi
rm /pack/archive
`
)

// packed makes the image that a store keeps of a stage that was built here.
func (b *Builder) packed(ctx context.Context, s *stage) (v1.Image, error) {
	p := s.pack(ctx, s.run.made)
	var addenda []mutate.Addendum
	if p.from != nil {
		layer, err := b.layerOf(ctx, s, p)
		if err != nil {
			return nil, err
		}
		addenda = append(addenda, mutate.Addendum{Layer: layer, MediaType: types.OCILayer})
	}
	if p.info != nil {
		text, err := infoOf(ctx, p.info)
		if err != nil {
			return nil, err
		}
		addenda = append(addenda, mutate.Addendum{Layer: static.NewLayer(text, infoType), MediaType: infoType})
	}
	image, err := newImage(addenda, b.platformOf(s), func(*v1.ConfigFile) {})
	if err != nil {
		return nil, fmt.Errorf("assemble stage: %w", err)
	}
	return image, nil
}

// layerOf packs a stage's files in the engine and brings the layer here.
func (b *Builder) layerOf(ctx context.Context, s *stage, p packing) (v1.Layer, error) {
	packer, err := b.container(ctx, b.packer)
	if err != nil {
		return nil, err
	}
	passing := ""
	if p.passing {
		passing = "1"
	}
	c := packer.
		WithMountedDirectory("/pack/from", p.from).
		WithMountedDirectory("/pack/out", b.Client.Directory()).
		WithEnvVariable("BEFORE", p.before).
		WithEnvVariable("EXCLUDE", strings.Join(p.exclude, " ")).
		WithEnvVariable("OWNER", p.owner).
		WithEnvVariable("SECONDS_", strconv.FormatInt(p.seconds, 10)).
		WithEnvVariable("AT", strings.TrimPrefix(p.at, "/")).
		WithEnvVariable("PASSING", passing)
	dir, err := os.MkdirTemp(b.Scratch, "layer-")
	if err != nil {
		return nil, fmt.Errorf("make folder for a layer: %w", err)
	}
	var failed *dagger.ExecError
	export := func(script string) error {
		_, err := slotted(b, func() (string, error) {
			return c.WithExec([]string{"sh", "-eufc", progress.Marker(s.String()) + script}).Directory("/pack/out").Export(ctx, dir)
		})
		return err
	}
	if err = export(packScript); errors.As(err, &failed) && strings.Contains(failed.Stderr, nameTooLong) {
		err = export(longScript)
	}
	if err != nil {
		return nil, err
	}
	return readLayer(dir)
}

// fileLayer is a layer in a file.
type fileLayer struct {
	path           string
	digest, diffID v1.Hash
	size           int64
}

func readLayer(dir string) (v1.Layer, error) {
	l := fileLayer{path: filepath.Join(dir, "layer.tar.gz")}
	diffID, err := os.ReadFile(filepath.Join(dir, "diffid"))
	if err != nil {
		return nil, fmt.Errorf("read layer: %w", err)
	}
	l.diffID = v1.Hash{Algorithm: "sha256", Hex: strings.TrimSpace(string(diffID))}
	file, err := os.Open(l.path)
	if err != nil {
		return nil, fmt.Errorf("read layer: %w", err)
	}
	defer file.Close()
	if l.digest, l.size, err = v1.SHA256(file); err != nil {
		return nil, fmt.Errorf("read layer: %w", err)
	}
	return partial.CompressedToLayer(&l)
}

func (l *fileLayer) Digest() (v1.Hash, error)            { return l.digest, nil }
func (l *fileLayer) DiffID() (v1.Hash, error)            { return l.diffID, nil }
func (l *fileLayer) Size() (int64, error)                { return l.size, nil }
func (l *fileLayer) MediaType() (types.MediaType, error) { return types.OCILayer, nil }
func (l *fileLayer) Compressed() (io.ReadCloser, error)  { return os.Open(l.path) }

// infoType is the media type of the small texts that go along with a stage:
// JSON, text by name.
const infoType types.MediaType = "application/vnd.erpnext-pipeline.info.v1+json"

func infoOf(ctx context.Context, folder *dagger.Directory) ([]byte, error) {
	names, err := folder.Entries(ctx)
	if err != nil {
		return nil, err
	}
	texts := map[string]string{}
	for _, name := range names {
		if texts[name], err = folder.File(name).Contents(ctx); err != nil {
			return nil, err
		}
	}
	return json.Marshal(texts)
}

// info returns the texts that go along with a stored stage.
func info(stage v1.Image) (map[string]string, error) {
	layers, err := stage.Layers()
	if err != nil {
		return nil, fmt.Errorf("read stage: %w", err)
	}
	texts := map[string]string{}
	for _, layer := range layers {
		if kind, err := layer.MediaType(); err != nil || kind != infoType {
			continue
		}
		content, err := layer.Compressed()
		if err != nil {
			return nil, fmt.Errorf("read stage: %w", err)
		}
		err = json.NewDecoder(content).Decode(&texts)
		if err := errors.Join(err, content.Close()); err != nil {
			return nil, fmt.Errorf("read stage: %w", err)
		}
	}
	return texts, nil
}

// fileSystem returns the layer with a stage's files, or nil where it has none.
func fileSystem(stage v1.Image) (v1.Layer, error) {
	layers, err := stage.Layers()
	if err != nil {
		return nil, fmt.Errorf("read stage: %w", err)
	}
	for _, layer := range layers {
		kind, err := layer.MediaType()
		if err != nil {
			return nil, fmt.Errorf("read stage: %w", err)
		}
		if kind != infoType {
			return layer, nil
		}
	}
	return nil, nil
}
