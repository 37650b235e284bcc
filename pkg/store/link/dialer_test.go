package link

import (
	"crypto/tls"
	"errors"
	"net"
	"testing"

	"github.com/gti/gtm/pkg/store/storetest"
)

// TestNamesOfMembersAreCheckedOneByOne: each member is to prove its own name, not that of the first that was asked.
func TestNamesOfMembersAreCheckedOneByOne(t *testing.T) {
	d := &dialer{tls: &tls.Config{}}
	for _, addr := range []string{"one.example:2379", "two.example:2379"} {
		asked := make(chan string, 1)
		here, there := net.Pipe()
		go func() {
			defer there.Close()
			_ = tls.Server(there, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				asked <- h.ServerName
				return nil, errors.New("seen")
			}}).Handshake()
		}()
		if _, err := d.encrypt(storetest.Context(t), here, addr); err == nil {
			t.Fatal("a handshake without a certificate")
		}
		if got := <-asked; got+":2379" != addr {
			t.Errorf("%s was asked for %q", addr, got)
		}
	}
}
