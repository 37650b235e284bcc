package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/spf13/pflag"

	"github.com/gti/gtm/pkg/control/secure"
)

// links say how the server is believed, and by which certificate it knows who asks.
type links struct{ pin, ca, cert, key string }

func (l *links) register(f *pflag.FlagSet, getenv func(string) string) {
	f.StringVar(&l.pin, "pin", getenv("GTM_PIN"), "what the server's certificate is known by, as gtmd prints it: sha256:... (or GTM_PIN)")
	f.StringVar(&l.ca, "ca-file", getenv("GTM_CA_FILE"), "PEM file of the authority that signed the server's certificate (or GTM_CA_FILE)")
	f.StringVar(&l.cert, "cert-file", getenv("GTM_CERT_FILE"), "PEM file of a client certificate (or GTM_CERT_FILE)")
	f.StringVar(&l.key, "key-file", getenv("GTM_KEY_FILE"), "PEM file of its key (or GTM_KEY_FILE)")
}

// transport makes connections to a server that is known by a pin, or by an authority where that is empty.
func (l *links) transport(pin string) (http.RoundTripper, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if pin != "" {
		if err := secure.CheckPin(pin); err != nil {
			return nil, fmt.Errorf("--pin: %w", err)
		}
		c = secure.Pinned(pin)
	}
	if l.ca != "" {
		data, err := os.ReadFile(l.ca)
		if err != nil {
			return nil, fmt.Errorf("--ca-file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("--ca-file: %s holds no certificate in PEM form", l.ca)
		}
	}
	if (l.cert == "") != (l.key == "") {
		return nil, misusef("--cert-file and --key-file go together")
	}
	if l.cert != "" {
		pair, err := tls.LoadX509KeyPair(l.cert, l.key)
		if err != nil {
			return nil, fmt.Errorf("--cert-file and --key-file: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig, t.ForceAttemptHTTP2 = c, false
	return t, nil
}

// distrust says what to do about a server that is not believed; empty: that is not what went wrong.
func distrust(err error) string {
	var pin *secure.PinError
	if errors.As(err, &pin) {
		return "is not believed: " + pin.Error()
	}
	var odd *tls.CertificateVerificationError
	if !errors.As(err, &odd) || len(odd.UnverifiedCertificates) == 0 {
		return ""
	}
	return fmt.Sprintf("is not believed (%v): its key is %s; if gtmd printed that at its start, pass --pin %[2]s, or remember it with "+
		"gtmctl login", odd.Err, secure.Pin(odd.UnverifiedCertificates[0]))
}

// signed reports whether an authority of this machine signed a certificate for a host.
func signed(shown []*x509.Certificate, host string) bool {
	if len(shown) == 0 {
		return false
	}
	between := x509.NewCertPool()
	for _, c := range shown[1:] {
		between.AddCert(c)
	}
	_, err := shown[0].Verify(x509.VerifyOptions{DNSName: host, Intermediates: between})
	return err == nil
}
