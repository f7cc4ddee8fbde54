# SPDX-License-Identifier: GPL-2.0-only
# A process without SVA: series over base, in time for each pair of guests, and in instructions
pick(row) = sprintf("< awk -F, '$1 == \"%s-ratio\"' '%s'", row, csv)
set multiplot layout 1,2 title "The series over the base, without SVA"
set xrange [-0.5:6]
set ylabel "ratio"
set xlabel "pages"
set offsets 0, 0, graph 0.3, 0		# room for the key
do for [what in "time instructions"] {
	suffix = (what eq "time" ? "" : "-instructions")
	if (what eq "time") {
		set title "time: median and range over pairs of guests"
		set yrange [*<0.9:1.1<*]
	} else {
		set title "instructions"
		set yrange [*<0.95:1.05<*]
	}
	plot pick("munmap" . suffix) using 0:6:5:7:xticlabels(3) \
		with yerrorbars linestyle 2 title "mmap, touch, munmap", \
	     pick("vmalloc" . suffix) using ($0 + 3.5):6:5:7:xticlabels(3) \
		with yerrorbars linestyle 1 title "vmalloc, vfree", \
	     1 with lines linestyle 3 title "no difference"
}
unset multiplot
