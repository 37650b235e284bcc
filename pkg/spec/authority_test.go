package spec

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
)

func pemOf(kind string, data []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}))
}

func someAuthority(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	data, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)},
		&x509.Certificate{SerialNumber: big.NewInt(1)}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf("CERTIFICATE", data)
}

// A monitor's own authorities are read when it is applied, and what is wrong is told without quoting what may be a key.
func TestAuthoritiesOfMonitors(t *testing.T) {
	good := someAuthority(t)
	for _, tc := range []struct {
		m    Monitor
		says string
	}{
		{Monitor{Type: "https", CA: "the one of ours\n" + good + good}, ""},
		{Monitor{Type: "https", CA: "/etc/ssl/ca.pem"}, "spec.ca: holds no certificate in PEM form"},
		{Monitor{Type: "https", CA: good + pemOf("PRIVATE KEY", []byte("HUSH"))},
			"spec.ca: block 2 is no certificate; only certificates belong here, and never a key"},
		{Monitor{Type: "https", CA: good + good[:90]}, "spec.ca: block 2 is not whole PEM"},
		{Monitor{Type: "https", CA: pemOf("CERTIFICATE", []byte("HUSH"))}, "spec.ca: certificate 1 cannot be read"},
		{Monitor{Type: "https", CA: strings.Repeat(good, 17)}, "spec.ca: has more than 16 certificates"},
		{Monitor{Type: "https", CA: good + strings.Repeat(" ", 32<<10)}, "it can have at most 32768"},
		{Monitor{Type: "https", CA: good, Insecure: true},
			"spec.ca: means nothing where spec.insecure leaves certificates unchecked; remove one of them"},
		{Monitor{Type: "http", CA: good}, "spec.ca: means nothing for a check of type http"},
		{Monitor{Type: "tcp", Port: 1, CA: good}, "spec.ca: means nothing for a check of type tcp"},
	} {
		err := Validate(&Resource{Key: Key{"shop", KindMonitor, "m"}, Spec: &tc.m})
		if tc.says == "" && err != nil || tc.says != "" &&
			(err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "HUSH")) {
			t.Errorf("%.40q: %v, want %q", tc.m.CA, err, tc.says)
		}
	}
}

// A header names a secret of the prober, by a name that leads nowhere else; what is stored is what was declared.
func TestSecretsOfMonitors(t *testing.T) {
	for body, says := range map[string]string{
		`{Authorization: {file: api-token}, X: plain}`:  "",
		`{X: {file: ../other/key}}`:                     "spec.headers.X.file: wants the name of a file as in api-token",
		`{X: {file: /etc/shadow}}`:                      "spec.headers.X.file: wants the name",
		`{X: {file: .hidden}}`:                          "spec.headers.X.file: wants the name",
		`{X: {file: ` + strings.Repeat("x", 129) + `}}`: "spec.headers.X.file: wants the name",
		`{X: {}}`:           "spec.headers.X: wants a text, or {file: NAME} of a secret of the prober",
		`{X: {fil: a}}`:     "spec.headers.X.fil: unknown field; did you mean file?",
		`{X: [a]}`:          "spec.headers.X: wants text, not a list",
		`{Host: {file: a}}`: "spec.headers.Host: is not set as a header",
	} {
		got, err := Decode("f.yaml", []byte("kind: Monitor\ntenant: shop\nname: m\nspec: {type: http, headers: "+body+"}\n"))
		if err == nil {
			err = Validate(got[0])
		}
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v, want %q", body, err, says)
		}
		if says != "" {
			continue
		}
		text, err := json.Marshal(got[0])
		if err != nil || !strings.Contains(string(text), `"headers":{"Authorization":{"file":"api-token"},"X":"plain"}`) {
			t.Errorf("%s %v", text, err)
		}
		back, err := DecodeJSON(text, Strict)
		if err != nil || len(Diff(got[0], back)) > 0 {
			t.Errorf("%v %v", err, Diff(got[0], back))
		}
	}
}

func FuzzAuthorities(f *testing.F) {
	f.Add("")
	f.Add(pemOf("CERTIFICATE", []byte("x")))
	f.Add("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
	f.Fuzz(func(t *testing.T, text string) {
		if pool, err := Authorities(text); (pool == nil) == (err == nil) {
			t.Errorf("%v, %v", pool, err)
		}
	})
}
