package main

const howItIsBeset = `Two hosts talk while a third sends %d frames/s to a fourth. On the fourth host's
link there are, in turns, no filters and %d of them for what it receives (u32, none of which
matches), through which the kernel goes within the switch's write.

`

// netdevTable has a line per figure of ports of kind netdev.
func (r *run) netdevTable() string {
	lines := [][]string{{"workload", "links", "vswitchd", "to the kernel bridge", "machine CPU, to the bridge's"}}
	for _, t := range r.topologies {
		for _, w := range r.rows {
			if t.links == "" || !w.on(t) || t == r.base(w) {
				continue
			}
			unit, _ := w.rate()
			lines = append(lines, append([]string{w.title, t.links}, compared(r.of(w, t), r.of(w, r.base(w)), unit, rateOf, machineCPU)...))
		}
	}
	if len(lines) == 1 {
		return ""
	}
	return table(lines)
}

// besideTable has a line per figure of hosts beside others.
func (r *run) besideTable() string {
	lines := [][]string{{"workload", "without the filters", "with them", "ratio"}}
	for _, w := range r.rows {
		if w.scene != beside {
			continue
		}
		add := func(title, unit string, f func(s *sample) float64) {
			for _, t := range r.topologies {
				if w.on(t) && t != r.base(w) {
					without := compared(r.of(w, r.base(w)), nil, unit, f, nil)
					lines = append(lines, append([]string{title, without[0]}, compared(r.of(w, t), r.of(w, r.base(w)), unit, f, nil)[:2]...))
				}
			}
		}
		unit, _ := w.rate()
		add(w.title, unit, rateOf)
		if w.meter == trips {
			add(w.title+", p50", "µs", medianTrip)
			add(w.title+", p99", "µs", lateTrip)
		}
	}
	if len(lines) == 1 {
		return ""
	}
	return table(lines)
}
