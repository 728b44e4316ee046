await_health "$version"
site "$version" workers $(containers_of "$version" worker)
