# Prints a checksum for each file that a migration reads. Run in an image.
cd /home/frappe/frappe-bench/apps || exit
find . -type d \( -name node_modules -o -name .git -o -name public -o -name dist -o -name __pycache__ \) -prune -o \
	-type f \( -name patches.txt -o -name modules.txt -o -name hooks.py -o -path '*/*/*.json' -a ! -name package.json -a ! -name 'tsconfig*.json' \) \
	-exec sha256sum {} + | sort -k 2
