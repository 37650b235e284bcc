package seam_test

import (
	"fmt"
	"testing"

	"github.com/gti/gtm/pkg/serve/seam"
)

func TestTransportString(t *testing.T) {
	if got := fmt.Sprint(seam.UDP, seam.TCP, seam.TLS, seam.HTTPS, seam.QUIC, seam.Transport(77)); got != "udp tcp tls https quic unknown" {
		t.Error(got)
	}
}
