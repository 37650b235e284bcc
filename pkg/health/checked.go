package health

// Names can be given to other addresses, and what was seen is true of the addresses: findings and sights say what they speak of.
// One that does not (an older program wrote it) speaks of whatever the name stands for.

func (f Finding) checked() string { return f.Of }
func (s Sight) checked() string   { return s.Of }

// namesOf gives, for each thing that is spoken of, the first name under which it is.
func namesOf[T interface{ checked() string }](all map[string]T) map[string]string {
	names := make(map[string]string, len(all))
	for name, t := range all {
		of := t.checked()
		if first, ok := names[of]; of != "" && (!ok || name < first) {
			names[of] = name
		}
	}
	return names
}

// NamesOf gives, for each thing that the verdict speaks of, the name of its finding.
func (v *Verdict) NamesOf() map[string]string { return namesOf(v.Endpoints) }

// For gives the findings that speak of what is checked of each endpoint now, whatever names they stood under. Endpoints of which
// nothing is known are left out. of may lack endpoints: their findings go by name.
func (v Verdict) For(endpoints []string, of map[string]string) Verdict {
	all := v.Endpoints
	v.Endpoints = make(map[string]Finding, len(endpoints))
	var names map[string]string
	for _, name := range endpoints {
		f, ok := all[name]
		if now := of[name]; now != "" && (!ok || f.Of != "" && f.Of != now) {
			if names == nil {
				names = namesOf(all)
			}
			from, moved := names[now]
			f, ok = all[from], moved
		}
		if ok {
			v.Endpoints[name] = f
		}
	}
	return v
}

// sight gives what a vantage knows of what is checked of an endpoint now.
func (c *Case) sight(vantage, endpoint string) (Sight, bool) {
	all, now := c.Observations[vantage].Endpoints, c.Of[endpoint]
	s, ok := all[endpoint]
	if now == "" || ok && (s.Of == "" || s.Of == now) {
		return s, ok
	}
	names, known := c.names[vantage]
	if !known {
		if c.names == nil {
			c.names = map[string]map[string]string{}
		}
		names = namesOf(all)
		c.names[vantage] = names
	}
	from, ok := names[now]
	return all[from], ok
}
