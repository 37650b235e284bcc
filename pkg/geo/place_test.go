package geo

import (
	"strings"
	"testing"
)

func TestParsePlace(t *testing.T) {
	tests := []struct {
		in   string
		want Place
		err  string // part of the error
	}{
		{"EU", Place{Continent: "EU"}, ""},
		{"NA", Place{Continent: "NA"}, ""},
		{"EU-DE", Place{Continent: "EU", Country: "DE"}, ""},
		{"AF-NA", Place{Continent: "AF", Country: "NA"}, ""},
		{"EU-XK", Place{Continent: "EU", Country: "XK"}, ""},
		{"NA-US-CA", Place{Continent: "NA", Country: "US", Subdivision: "CA"}, ""},
		{"EU-GB-ENG", Place{Continent: "EU", Country: "GB", Subdivision: "ENG"}, ""},
		{"AS-JP-13", Place{Continent: "AS", Country: "JP", Subdivision: "13"}, ""},
		{"", Place{}, "is not a continent"},
		{"XX", Place{}, "they are AF, AN, AS, EU, NA, OC and SA"},
		{"europe", Place{}, `did you mean "EU"?`},
		{"eu-de", Place{}, `did you mean "EU-DE"?`},
		{"DE", Place{}, `did you mean "EU-DE"?`},
		{"US-CA", Place{}, `did you mean "NA-US-CA"?`},
		{"UK", Place{}, `did you mean "EU-GB"?`},
		{"AS-DE", Place{}, `DE is in EU (Europe): did you mean "EU-DE"?`},
		{"SA-US-CA", Place{}, `did you mean "NA-US-CA"?`},
		{"EU-UK-ENG", Place{}, `did you mean "EU-GB-ENG"?`},
		{"EU-ZZ", Place{}, `"ZZ" is not a country code`},
		{"EU-", Place{}, `"" is not a country code`},
		{"EU-DEU", Place{}, `"DEU" is not a country code`},
		{"EU-DE-", Place{}, `"" is not a subdivision`},
		{"EU-DE-BERL", Place{}, `"BERL" is not a subdivision`},
		{"EU-DE-BE-1", Place{}, "has 4 parts"},
	}
	for _, test := range tests {
		got, err := ParsePlace(test.in)
		if got != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%q: %+v, %v; want %+v, error with %q", test.in, got, err, test.want, test.err)
		}
		if err == nil && got.String() != test.in {
			t.Errorf("%q reads back as %q", test.in, got)
		}
	}
}

func FuzzParsePlace(f *testing.F) {
	for _, s := range []string{"EU", "EU-DE-BE", "as-de", "UK", "-", "NA-US-CA-1", "ſ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePlace(s)
		if err == nil && p.String() != s {
			t.Errorf("%q reads back as %q", s, p)
		}
	})
}

func TestPlaceIn(t *testing.T) {
	berlin := Place{Continent: "EU", Country: "DE", Subdivision: "BE", ASN: 3320}
	for _, where := range []Place{{}, {Continent: "EU"}, {Continent: "EU", Country: "DE"},
		{Continent: "EU", Country: "DE", Subdivision: "BE"}, {Continent: "EU", Country: "DE", Subdivision: "BE", ASN: 1}} {
		if !berlin.In(where) {
			t.Errorf("%v is not in %q", berlin, where)
		}
	}
	for _, where := range []Place{{Continent: "AS"}, {Continent: "EU", Country: "FR"},
		{Continent: "EU", Country: "DE", Subdivision: "BY"}} {
		if berlin.In(where) {
			t.Errorf("%v is in %q", berlin, where)
		}
	}
	if !(Place{Continent: "AS", Country: "CY"}).In(Place{Continent: "EU", Country: "CY"}) {
		t.Error("a database that puts Cyprus in Asia does not answer for EU-CY")
	}
	if (Place{}).In(Place{Continent: "EU"}) {
		t.Error("the unknown place is in Europe")
	}
}

// TestCountries checks the table of ISO 3166-1: its 249 codes and XK, each once.
func TestCountries(t *testing.T) {
	n := 0
	for continent, list := range countriesOf {
		if continentNames[continent] == "" {
			t.Errorf("continent %q has no name", continent)
		}
		for _, country := range strings.Fields(list) {
			n++
			if continentOf[country] != continent || !isCode(country, 2, 2) {
				t.Errorf("%s is listed on %s and %s", country, continent, continentOf[country])
			}
		}
	}
	if n != 250 || len(continentOf) != n {
		t.Errorf("%d countries listed, %d different; want 249 and XK", n, len(continentOf))
	}
	for _, p := range builtinAtlas(t).places {
		if p.Country != "" && continentOf[p.Country] != p.Continent {
			t.Errorf("the built-in database has %v, which is not in the table", p)
		}
	}
}
