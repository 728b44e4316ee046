# Prints an archive of what the records of the releases in the folder $1 are put
# together from. That of a rollback is in the folder of its run. Exit code 44
# means that there are no releases.
cd "$1" && [ -d releases ] || exit 44
find releases runs -maxdepth 2 -type f \( -name release.json -o -name journal -o -name watch -o -name sites \) | tar -cf - -T -
