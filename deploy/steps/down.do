# In closed sites nobody waits for anybody: all end at once, and the frontend
# without waiting for pages that are open.
containers "$previous" label=com.docker.compose.service=frontend status=running | each docker kill --signal TERM >/dev/null
docker ps --quiet --filter "label=com.docker.compose.project=$project" | each docker stop >/dev/null
compose "$previous" --profile '*' down --remove-orphans
