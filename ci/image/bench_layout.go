package image

// Where everything lies: the layout of the public custom image, which compose
// files written for it expect.
const (
	user = "frappe"
	// owner is user and group of user by their numbers.
	owner    = "1000:1000"
	home     = "/home/frappe"
	benchDir = home + "/frappe-bench"
)

// searchPath is where commands are looked for, in the image and in all stages:
// a stage that comes from a store has its files and no configuration.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// benchFolders makes the folders of an empty bench.
const benchFolders = `
for folder in "" apps sites logs config config/pids; do
	install -d -o 1000 -g 1000 "` + benchDir + `/$folder"
done
`
