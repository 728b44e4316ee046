touch opening
if [ -e maintenance-before ]; then site "$version" open_again $sites; else site "$version" forget_assets; fi
ask 200 "" $sites
