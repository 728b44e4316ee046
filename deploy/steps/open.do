touch opening
# What an administrator had closed stays closed.
if [ -e maintenance-before ]; then site "$version" put_back "$(cat maintenance-before)"; else site "$version" forget_assets; fi
await_open "$version"
