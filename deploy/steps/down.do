# The frontend ends without waiting for pages that are open.
containers "$previous" label=com.docker.compose.service=frontend status=running | with_ids docker kill --signal TERM >/dev/null
take_down "$previous"
