make_current "$version"
