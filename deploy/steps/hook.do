# What a hook is told.
export RELEASE_KIND="$kind" RELEASE_VERSION="$version" RELEASE_PREVIOUS="$previous" RELEASE_IMAGE="$image"
export RELEASE_SITES="$sites" RELEASE_STRATEGY="$strategy" RELEASE_RUN="$id" RELEASE_DIR="$dir/releases/$version"
export COMPOSE_PROJECT_NAME="$project"
