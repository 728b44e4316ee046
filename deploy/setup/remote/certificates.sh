# Installs what https needs. The functions of packages.sh stand before it.
set -eu
packages ca-certificates
