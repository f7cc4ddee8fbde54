# SPDX-License-Identifier: GPL-2.0-only
# The SMMUv3 driver: the wall time of an invalidation and of an unmap, and a VM's page tables
set multiplot layout 1,3 title "The SMMUv3 driver of the base, and that of the series; a CMD\\_SYNC takes L = 100 us"
set xlabel "SMMUs"
set xrange [0:9]
set xtics (1, 2, 4, 8)
set yrange [0:*]
set ylabel "us"
goal = 1.15 * 200
set title "a page of a process"
plot lines("smmu-wall-sva", 100, "base") using 3:($6 / 1000):($5 / 1000):($7 / 1000) \
	with yerrorlines linestyle 1 title "base", \
     lines("smmu-wall-sva", 100, "series") using 3:($6 / 1000):($5 / 1000):($7 / 1000) \
	with yerrorlines linestyle 2 title "series", \
     goal with lines linestyle 3 title "goal: 1.15 x 2L"
set title "a page of a VM"
plot lines("smmu-wall-vm", 100, "base") using 3:($6 / 1000):($5 / 1000):($7 / 1000) \
	with yerrorlines linestyle 1 title "base", \
     lines("smmu-wall-vm", 100, "series") using 3:($6 / 1000):($5 / 1000):($7 / 1000) \
	with yerrorlines linestyle 2 title "series", \
     goal with lines linestyle 3 title "goal: 1.15 x 2L"
tables(way) = sprintf("< awk -F, '$1 == \"smmu-tables-vm\" && $4 == \"%s\"' '%s'", way, csv)
set title "page tables of 16 MiB of a VM"
set ylabel "pages"
plot tables("base") using 3:6 with linespoints linestyle 1 title "base", \
     tables("series") using 3:6 with linespoints linestyle 2 title "series", \
     tables("limit") using 3:6 with lines linestyle 3 title "limit"
unset multiplot
