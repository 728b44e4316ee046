# Prints what the run in the folder $1 is doing, and then its log from byte $2
# on.
sh "$1/runner" status && tail -c "+$(($2 + 1))" -- "$1/log"
