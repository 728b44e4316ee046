# No visitor is led there any more. Open pages connect again, to the new
# release; what the old frontend has under way comes to its end, and needs the
# backend for that.
containers "$previous" label=com.docker.compose.service=websocket | with_ids docker stop >/dev/null
await_idle "$previous"
containers "$previous" label=com.docker.compose.service=frontend | with_ids docker stop >/dev/null
remove "$previous" web worker scheduler once
# An old backend may have left its list of assets in the cache.
site "$version" forget_assets
