# The proxy of this project reads the folder, and takes what is new there without
# being started again.
proxy=$(of_service traefik)
[ -n "$proxy" ] || fail "there is no container of the service traefik to give the certificate to"
for one in $proxy; do
	# What an interrupted step has kept already is what was there before.
	docker exec -i "$one" sh -euc "umask 077; cd /certificates
		if [ ! -e .before-$id ]; then
			if [ -e certificate.yaml ]; then cp -p certificate.yaml .before-$id.part; else : >.before-$id.part; fi
			mv .before-$id.part .before-$id
		fi
		cat >.certificate.part
		mv .certificate.part certificate.yaml
		find . -name '.before-*' ! -name .before-$id -exec rm -f {} +" <"$dir/releases/$version/certificate.yaml"
done
