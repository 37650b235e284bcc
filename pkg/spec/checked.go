package spec

import (
	"net/netip"
	"slices"
	"strings"
)

// Checked says what a monitor checks of the endpoint, in one form however it is written: the probe, the host name, or the
// addresses in order. What is known of an endpoint is known of this, not of its name.
func (e *Endpoint) Checked() string { return string(e.appendChecked(nil)) }

// IsChecked reports whether of is what Checked gives. It does not allocate where addresses are checked.
func (e *Endpoint) IsChecked(of string) bool {
	var buf [128]byte
	return string(e.appendChecked(buf[:0])) == of
}

func (e *Endpoint) appendChecked(b []byte) []byte {
	switch {
	case e.Probe != "":
		a, port, err := e.ProbeTarget()
		switch {
		case err != nil:
			return append(b, e.Probe...)
		case port != 0:
			return netip.AddrPortFrom(a.Unmap(), port).AppendTo(b)
		}
		return a.Unmap().AppendTo(b)
	case e.Host != "":
		return append(b, strings.ToLower(strings.TrimSuffix(e.Host, "."))...)
	case len(e.Addresses) == 1:
		return e.Addresses[0].Unmap().AppendTo(b)
	}
	var buf [4]netip.Addr
	sorted := append(buf[:0], e.Addresses...)
	slices.SortFunc(sorted, netip.Addr.Compare)
	for i, a := range sorted {
		if i > 0 {
			b = append(b, ' ')
		}
		b = a.Unmap().AppendTo(b)
	}
	return b
}
