package start

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/change/lawful"
	"github.com/gti/gtm/pkg/control/files"
	"github.com/gti/gtm/pkg/spec"
)

var zones = map[string]map[string][]string{"gtm.example.": {"shop": {"shop.gtm.example."}, "cafe": {"cafe.gtm.example."}}}

// answered gives what comes of a conversation, and what was asked.
func answered(t *testing.T, said Said, lines string) (*Answers, string, error) {
	t.Helper()
	var asked strings.Builder
	a, err := said.Answers(NewPerson(strings.NewReader(lines), &asked), Known{Zones: zones})
	return a, asked.String(), err
}

// TestWhatIsAnsweredIsDeclared: the file that comes of each conversation passes the check of all there is.
func TestWhatIsAnsweredIsDeclared(t *testing.T) {
	whole := Said{Zone: "Example.ORG", Tenant: "me", Host: "www.example.org", Check: "https:8443/healthz", Edge: "2001:db8::53",
		Pools: []string{"eu=192.0.2.1,2001:db8::1", "us=198.51.100.1"}}
	for name, c := range map[string]struct {
		said  Said
		lines string
		want  []string
	}{
		"all said": {whole, "", []string{"ns1 AAAA 2001:db8::53", "grants: {me: [example.org.]}", "port: 8443", `path: "/healthz"`}},
		"all asked": {Said{}, "example.org\nme\n\neu=192.0.2.1\nus=192.0.2.2 192.0.2.3\nnone\n\n",
			[]string{"name: www\n", "ns1 A 127.0.0.1", "pools: [eu, us]"}},
		"mended": {Said{}, "ex ample\nexample.org\nME\nme\nwww.other.org\nwww.example.org\neu\neu=1\neu=192.0.2.1\neu=192.0.2.9\n" +
			"us=192.0.2.2\ntcp\ntcp:5222\nx\n::1\n", []string{"type: tcp", "port: 5222", "ns1 AAAA ::1"}},
		"no name": {Said{Host: "_sip.example.org", Zone: "example.org", Tenant: "me", Check: "none", Edge: "::1", Pools: whole.Pools}, "",
			[]string{"name: first\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			a, asked, err := answered(t, c.said, c.lines)
			if err != nil {
				t.Fatalf("%v after %s", err, asked)
			}
			text := a.YAML()
			resources, err := files.Load([]string{"-"}, strings.NewReader(text))
			if err == nil {
				_, err = lawful.Declared(resources)
			}
			if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("there is no %q in\n%s", want, text)
				}
			}
		})
	}
}

// TestAZoneThatIsThereIsNotDeclared, and what it grants is what is proposed.
func TestAZoneThatIsThereIsNotDeclared(t *testing.T) {
	a, asked, err := answered(t, Said{}, "\nshop\n\neu=192.0.2.1\nus=192.0.2.2\n\n")
	if err != nil || a.NewZone || a.Zone != "gtm.example." || a.Host != "www.shop.gtm.example." || strings.Contains(a.YAML(), "Zone") {
		t.Errorf("%+v, %v after %s", a, err, asked)
	}
	if !strings.Contains(asked, "[gtm.example]") || !strings.Contains(asked, "[cafe]") || strings.Contains(asked, "edge") {
		t.Errorf("asked was %s", asked)
	}
	if _, _, err := answered(t, Said{Zone: "gtm.example", Tenant: "other"}, ""); err == nil ||
		!strings.Contains(err.Error(), "grants other no name") {
		t.Errorf("got %v", err)
	}
	if _, _, err := answered(t, Said{Zone: "gtm.example", Tenant: "shop", Host: "www.cafe.gtm.example"}, ""); err == nil ||
		!strings.Contains(err.Error(), "does not stand below shop.gtm.example.") {
		t.Errorf("got %v", err)
	}
}

// TestWhatIsThereIsAskedForAnew: an answer that would replace something is not taken. What was said is left to whoever applies it.
func TestWhatIsThereIsAskedForAnew(t *testing.T) {
	known := Known{Free: func(key spec.Key) error {
		if key.Name == "www" || key.Name == "eu" {
			return fmt.Errorf("%s is there already", key)
		}
		return nil
	}}
	var asked strings.Builder
	lines := "example.org\nme\n\napi.example.org\neu=192.0.2.1\nfar=192.0.2.1\nus=192.0.2.2\nhttp\n::1\n"
	a, err := (&Said{}).Answers(NewPerson(strings.NewReader(lines), &asked), known)
	if err != nil || a.Host != "api.example.org." || len(a.Pools) != 2 || a.Pools[0].Name != "far" {
		t.Fatalf("%+v, %v after %s", a, err, &asked)
	}
	if !strings.Contains(asked.String(), "me/Service/www is there") || !strings.Contains(asked.String(), "me/Pool/eu is there") {
		t.Errorf("asked was %s", &asked)
	}
	if text := a.YAML(); !strings.Contains(text, "name: api-alive\n") || strings.Count(text, "monitor: api-alive\n") != 2 {
		t.Errorf("the monitor is not named after the service:\n%s", text)
	}
	said := Said{Zone: "example.org", Tenant: "me", Host: "www.example.org", Check: "none", Edge: "::1",
		Pools: []string{"eu=::1", "us=::2"}}
	if _, err := said.Answers(NewPerson(strings.NewReader(""), io.Discard), known); err != nil {
		t.Error(err)
	}
}

// TestUnused: all that is there already is told at once, and what to choose anew; another error is that.
func TestUnused(t *testing.T) {
	a, _, err := answered(t, Said{Zone: "example.org", Tenant: "me", Host: "www.example.org", Check: "http", Edge: "::1",
		Pools: []string{"eu=::1", "us=::2"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	resources, err := files.Load([]string{"-"}, strings.NewReader(a.YAML()))
	if err != nil {
		t.Fatal(err)
	}
	if err := Unused(resources, func(spec.Key) error { return nil }); err != nil {
		t.Error(err)
	}
	away := errors.New("away")
	if err := Unused(resources, func(spec.Key) error { return away }); !errors.Is(err, away) {
		t.Error(err)
	}
	err = Unused(resources, func(key spec.Key) error { return &TakenError{key} })
	for _, want := range []string{"platform/Zone/example.org. is there", "me/Monitor/www-alive is there", "me/Pool/us is there",
		"me/Service/www is there", "--zone", "--pool", "--host"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("there is no %s in %v", want, err)
		}
	}
}

// TestAMonitorHasAName, however long the label of the host is.
func TestAMonitorHasAName(t *testing.T) {
	for label, want := range map[string]string{"www": "www-alive", "_sip": "first-alive",
		strings.Repeat("a", 63):                                 strings.Repeat("a", 57) + "-alive",
		strings.Repeat("a", 55) + "--" + strings.Repeat("b", 6): strings.Repeat("a", 55) + "-alive"} {
		a := Answers{Host: label + ".example.org."}
		if got := a.monitor(); got != want || !IsName(got) {
			t.Errorf("%s: %s", label, got)
		}
	}
}

// TestNobodyAnswers: the input is over, or nothing but wrong comes.
func TestNobodyAnswers(t *testing.T) {
	if _, _, err := answered(t, Said{}, "example.org\n"); !errors.Is(err, ErrSilent) {
		t.Errorf("got %v", err)
	}
	if _, asked, err := answered(t, Said{}, strings.Repeat("a b\n", 100)); err == nil ||
		strings.Count(asked, "Zone, in which") != mostTries {
		t.Errorf("got %v after %s", err, asked)
	}
	if _, _, err := answered(t, Said{}, strings.Repeat("x", mostBytes+1)); err == nil ||
		!strings.Contains(err.Error(), "more than 4096 bytes") {
		t.Errorf("got %v", err)
	}
	if NewPerson(strings.NewReader("ja\n"), io.Discard).Sure("?") || NewPerson(strings.NewReader(""), io.Discard).Sure("?") ||
		!NewPerson(strings.NewReader("yes\n"), io.Discard).Sure("?") {
		t.Error("only yes is yes")
	}
}

// FuzzParse: what is taken for pools and a check can be declared.
func FuzzParse(f *testing.F) {
	for _, seed := range [][2]string{{"eu=192.0.2.1", "https:8443/healthz"}, {"a=::1,::2", "tcp:5222"}, {"=,", "none"},
		{"eu=fe80::1%lo", "http/\"\\\n"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pool, check string) {
		p, err := ParsePool(pool)
		c, odd := ParseCheck(check)
		if err != nil || odd != nil {
			return
		}
		a := &Answers{Zone: "example.org.", Tenant: "me", Host: "www.example.org.", Pools: []Pool{p}, Check: c}
		resources, err := files.Load([]string{"-"}, strings.NewReader(a.YAML()))
		if err != nil {
			t.Fatalf("%v in\n%s", err, a.YAML())
		}
		if got := len(resources); got != 2 && c.Type == "" || got != 3 && c.Type != "" {
			t.Errorf("%d resources in\n%s", got, a.YAML())
		}
	})
}
