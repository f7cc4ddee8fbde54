# SPDX-License-Identifier: GPL-2.0-only
# What software costs where hardware costs nothing
set multiplot layout 1,2 title "Instructions, with hardware that completes at once"
set logscale xy
set xrange [0.7:800]
set xtics (1, 8, 64, 512)
set ylabel "instructions"
do for [row in "elements attach"] {
	set title (row eq "elements" ? "one flush" : "an attach and a detach")
	set xlabel (row eq "elements" ? "elements" : "elements that are there already")
	plot lines(row . "-instructions", 0, "base") using 3:6:5:7 \
		with yerrorlines linestyle 1 title "base", \
	     lines(row . "-instructions", 0, "series") using 3:6:5:7 \
		with yerrorlines linestyle 2 title "series"
}
unset multiplot
