make_current "$version"
# In a first release nothing was measured.
[ -z "$previous" ] || end_measuring
