#!/bin/sh
# Pseudonyms and sizes of all recommendations so far: consume.sh BROKER TOPIC
set -eu
kcat -C -b "$1" -t "$2" -o beginning -e -q -f '%k %S\n'
