package baseline

import _ "embed"

// Compose is the compose file of a site that is updated by hand. It reads
// IMAGE, DE_SITE_VERSION, SITE_NAME, INSTALL, HTTP_PORT and the passwords from
// the .env beside it.
//
//go:embed compose.yaml
var Compose []byte

// MakeSite is a shell script that brings the site up for the first time and
// waits until it is made. It takes the folder with compose.yaml and .env, the
// project and the site.
const MakeSite = `set -eu
cd "$1"
docker compose -p "$2" -f compose.yaml up --detach --quiet-pull 2>&1
until [ -n "$(docker compose -p "$2" -f compose.yaml ps --all --quiet --status exited create-site)" ]; do sleep 1; done
` + untilItAnswers

// Update is the update procedure by hand as a shell script, and as fast as it
// can be done: the image is on the host already, the version is set without an
// editor, and no command waits until an operator sees that the one before has
// ended. It takes the arguments of MakeSite and the new version.
const Update = `set -eu
cd "$1"
sed -i "s/^DE_SITE_VERSION=.*/DE_SITE_VERSION=$4/" .env
docker compose -p "$2" -f compose.yaml down 2>&1
docker compose -p "$2" -f compose.yaml up --detach 2>&1
` + untilItAnswers + `
docker compose -p "$2" -f compose.yaml exec -T backend bench --site "$3" migrate 2>&1 </dev/null
`

// untilItAnswers waits for the backend; a command of Docker's for each try
// would take longer than what it waits for.
const untilItAnswers = `docker compose -p "$2" -f compose.yaml exec -T backend sh -c '
	until curl --fail --silent --output /dev/null --max-time 5 --header "X-Frappe-Site-Name: $1" http://127.0.0.1:8000/api/method/ping; do sleep 0.1; done
' sh "$3" </dev/null`
