package checks

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
)

// checkType is one type of checks. How its fields are validated stands in spec.MonitorTypes.
type checkType struct {
	// compile fills in what the type takes of its monitor, defaults included. nil: nothing but the target.
	compile func(c *probe.Check, tenant string, m *spec.Monitor) error
	// run makes the check of one address, and ends when its context does. nil: passed.
	run func(context.Context, *attempt) error
}

// types are all there are, by their name in monitors.
var types = map[string]checkType{
	"dns":       {compileDNS, runDNS},
	"grpc":      {compileGRPC, runGRPC},
	"http":      {compileHTTP, runHTTP},
	"https":     {compileHTTP, runHTTP},
	"icmp":      {nil, runICMP},
	"signal":    {nil, runSignal},
	"tcp":       {nil, runTCP},
	"tls":       {nil, runTLS},
	"websocket": {compileWebsocket, runWebsocket},
}

// New makes the check of one endpoint of a pool from its monitor, defaults included. An error names what is wrong.
func New(tenant, pool string, monitor *spec.Monitor, e spec.Endpoint) (probe.Check, error) {
	m := monitor.Effective()
	c := probe.Check{Type: m.Type, Interval: time.Duration(m.Interval), Recheck: time.Duration(m.Recheck),
		Timeout: time.Duration(m.Timeout)}
	t, known := types[m.Type]
	switch {
	case !known:
		return probe.Check{}, fmt.Errorf("type %q is none of %s", m.Type, strings.Join(spec.MonitorTypes(), ", "))
	case c.Interval <= 0 || c.Timeout <= 0 || c.Timeout > c.Interval:
		return probe.Check{}, fmt.Errorf("timeout %v does not fit interval %v", c.Timeout, c.Interval)
	}
	if m.Type == spec.TypeSignal {
		declared, _, _ := strings.Cut(e.Name, "/") // of both families
		c.Signal = probe.Signal{Tenant: tenant, Pool: pool, Endpoint: declared, SilentDown: m.Silent == spec.SilentDown}
		c.Recheck = 0
		return c, nil
	}
	if err := setTarget(&c, e, m.Port); err != nil {
		return probe.Check{}, err
	}
	if err := setSecurity(&c, tenant, &m); err != nil {
		return probe.Check{}, err
	}
	if t.compile == nil {
		return c, nil
	}
	if err := t.compile(&c, tenant, &m); err != nil {
		return probe.Check{}, err
	}
	return c, nil
}

// setTarget says where to connect: probe before host before addresses.
func setTarget(c *probe.Check, e spec.Endpoint, port uint16) error {
	addr, ownPort, err := e.ProbeTarget()
	addrs := e.Addresses
	switch {
	case err != nil:
		return err
	case e.Probe != "":
		addrs = []netip.Addr{addr}
		if ownPort != 0 {
			port = ownPort
		}
	case e.Host != "":
		c.Host, c.Port = strings.TrimSuffix(e.Host, "."), port
		addrs = nil
	case len(addrs) == 0:
		return errors.New("it has no address, host or probe")
	}
	if port == 0 && spec.HasPort(c.Type) {
		return fmt.Errorf("port is missing: a %s monitor has no default", c.Type)
	}
	for _, a := range addrs {
		c.Addrs = append(c.Addrs, netip.AddrPortFrom(a.Unmap(), port))
	}
	return nil
}
