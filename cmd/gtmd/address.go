package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// leaveAddress leaves the URL of the API in the data folder, beside its token, where gtmctl finds both.
func (s *server) leaveAddress() error {
	path := filepath.Join(s.cfg.data, "api")
	file, err := os.CreateTemp(s.cfg.data, ".api-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(file, "%s://%s\n", s.scheme(), s.localAddr())
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		os.Remove(file.Name())
		return err
	}
	s.address = path
	return nil
}

// localAddr is where this machine reaches the HTTP port: by loopback, where it listens everywhere.
func (s *server) localAddr() string {
	a, ok := s.web.Addr().(*net.TCPAddr)
	if !ok || !a.IP.IsUnspecified() {
		return s.web.Addr().String()
	}
	return net.JoinHostPort("localhost", strconv.Itoa(a.Port))
}

// scheme is what the HTTP port speaks.
func (s *server) scheme() string {
	if s.tls != nil {
		return "https"
	}
	return "http"
}

// pin is what others know the HTTP port by; empty: it does not speak TLS.
func (s *server) pin() string {
	if s.tls == nil {
		return ""
	}
	pin, _ := s.tls.Pin()
	return pin
}

// httpAddr is where others reach this server's HTTP port. In place of a wildcard address stands the one by which etcd is reached.
func (s *server) httpAddr() string {
	a, ok := s.web.Addr().(*net.TCPAddr)
	if !ok || !a.IP.IsUnspecified() {
		return s.web.Addr().String()
	}
	s.announce.Do(func() { s.announced = addressTo(s.cfg.etcd, a.IP.To4() != nil) })
	return netip.AddrPortFrom(s.announced, uint16(a.Port)).String()
}

// addressTo gives this machine's address on the way to etcd, which is where control is, too; no packet is sent. Without a way it is
// loopback: an etcd of its own is on this machine.
func addressTo(etcd []string, only4 bool) netip.Addr {
	network := map[bool]string{true: "udp4", false: "udp"}[only4]
	for _, e := range etcd {
		u, err := url.Parse(e)
		if err != nil || u.Port() == "" {
			continue
		}
		conn, err := net.DialTimeout(network, u.Host, time.Second)
		if err != nil {
			continue
		}
		local := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
		_ = conn.Close()
		return local.WithZone("")
	}
	return netip.MustParseAddr("127.0.0.1")
}
