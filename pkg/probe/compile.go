package probe

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/spec"
)

// NewCheck makes the check of one endpoint of a tenant from its monitor, defaults included. An error names what is wrong.
func NewCheck(tenant string, monitor *spec.Monitor, e spec.Endpoint) (Check, error) {
	m := monitor.Effective()
	c := Check{Type: m.Type, Interval: time.Duration(m.Interval), Recheck: time.Duration(m.Recheck), Timeout: time.Duration(m.Timeout)}
	switch {
	case m.Type != "http" && m.Type != "https" && m.Type != "tcp":
		return Check{}, fmt.Errorf("type %q is none of http, https, tcp", m.Type)
	case c.Interval <= 0 || c.Timeout <= 0 || c.Timeout > c.Interval:
		return Check{}, fmt.Errorf("timeout %v does not fit interval %v", c.Timeout, c.Interval)
	}
	if err := c.setTarget(e, m.Port); err != nil {
		return Check{}, err
	}
	if m.Type == "tcp" {
		return c, nil
	}
	c.Path, c.Method, c.Name = m.Path, m.Method, m.Host
	c.Insecure, c.CA, c.Body = m.Insecure, m.CA, m.Body
	c.setHeaders(tenant, m.Headers)
	if c.CA != "" {
		if _, err := spec.Authorities(c.CA); err != nil {
			return Check{}, fmt.Errorf("ca %w", err)
		}
	}
	if _, err := c.request("host"); err != nil {
		return Check{}, fmt.Errorf("path %q is not part of a URL", c.Path)
	}
	return c, c.setStatus(m.Status)
}

func (c *Check) setHeaders(tenant string, headers map[string]spec.Header) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if h := headers[name]; h.File != "" {
			c.Secrets = append(c.Secrets, Secret{Header: name, Tenant: tenant, Name: h.File})
		} else if c.Headers == nil {
			c.Headers = map[string]string{name: h.Text}
		} else {
			c.Headers[name] = h.Text
		}
	}
}

// setTarget says where to connect: probe before host before addresses.
func (c *Check) setTarget(e spec.Endpoint, port uint16) error {
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
	if port == 0 {
		return fmt.Errorf("port is missing: a %s monitor has no default", c.Type)
	}
	for _, a := range addrs {
		c.Addrs = append(c.Addrs, netip.AddrPortFrom(a.Unmap(), port))
	}
	return nil
}

func (c *Check) setStatus(texts []string) error {
	for _, text := range texts {
		low, high, err := spec.ParseStatus(text)
		if err != nil {
			return fmt.Errorf("status %w", err)
		}
		c.Status = append(c.Status, StatusRange{low, high})
	}
	return nil
}

// StatusRange is a range of HTTP status codes, both ends included.
type StatusRange struct{ First, Last int }

// String gives 200-299, or 200 for a range of one.
func (r StatusRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(r.First)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}
