# An image is on every host that gets here; curl is not.
docker rm --force "$project-watch-$number" >/dev/null 2>&1 || true
docker run --detach --init --restart unless-stopped --name "$project-watch-$number" --network host --pull never \
	--entrypoint bash "$image" -c "$(cat visit.sh measure-downtime.sh)" measure-downtime $(address_of "$version") "$first_site" >/dev/null
