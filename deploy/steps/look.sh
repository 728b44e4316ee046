# Asks the sites $3… at the address $1 and the port $2 for a sign of life, and
# prints each with the code and the place of its answer.
address=$1 port=$2
shift 2
for site; do
	for _ in {1..3}; do
		answer=$(visited "$site")
		[ "${answer%% *}" != 200 ] || break
		sleep 1
	done
	echo "$site $answer"
done
