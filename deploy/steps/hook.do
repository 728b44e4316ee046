# The hook has the name of the step: 040-before-deploy.do.
hook=${0##*/}
hook=${hook#*-}
hook=${hook%.do}
export RELEASE_KIND="$kind" RELEASE_VERSION="$version" RELEASE_PREVIOUS="$previous" RELEASE_IMAGE="$image"
export RELEASE_SITES="$sites" RELEASE_STRATEGY="$strategy" RELEASE_RUN="$id" RELEASE_DIR="$dir/releases/$version"
export COMPOSE_PROJECT_NAME="$project"
case $hook in
# What is migrated is migrated.
after-migrate) "./hooks/$hook" || echo "warning: the hook $hook ended with $?" ;;
*) "./hooks/$hook" ;;
esac
