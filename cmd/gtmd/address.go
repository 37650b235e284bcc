package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
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
