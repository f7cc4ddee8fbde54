# SPDX-License-Identifier: GPL-2.0-only
# What the plots have in common. `csv` and `out` are given; `png` makes a picture to look at.
if (exists("png")) {
	set terminal pngcairo size 1000,400 font "sans,11" background "white"
} else {
	set terminal svg size 1000,400 font "sans,13" background "white"
}
set output out
set datafile separator ","
set style line 1 linecolor rgb "#c03020" linewidth 2 pointtype 7 pointsize 0.7	# base
set style line 2 linecolor rgb "#2060c0" linewidth 2 pointtype 5 pointsize 0.7	# series
set style line 3 linecolor rgb "#808080" linewidth 1.5 dashtype 2		# goal
set grid ytics linecolor rgb "#e0e0e0"
set border 3
set tics nomirror
set key top left reverse Left samplen 2

# The lines of the table of one row, parameter and way; columns: x 3, low 5, median 6, high 7
lines(row, parameter, way) = sprintf("< awk -F, '$1 == \"%s\" && $2 == %d && $4 == \"%s\"' '%s'", \
	row, parameter, way, csv)
