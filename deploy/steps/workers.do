bring_up_only "$version" $(services "$version" worker scheduler)
