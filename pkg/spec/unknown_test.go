package spec

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

const newer = `{"kind":"Pool","tenant":"shop","name":"eu","labels":{"x":1},"spec":{"site":"fra","hedge":{"after":"5ms"},` +
	`"endpoints":[{"name":"a","addresses":["192.0.2.1"],"weight":3,"color":"red"},{"name":"b","addresses":["192.0.2.2"],"color":"blue"}]}}`

func tolerant(t *testing.T, text string) *Resource {
	t.Helper()
	var reader Reader
	r, err := reader.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func jsonOf(t *testing.T, r *Resource) string {
	t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// An edit that an older program makes drops fields of a newer one.
func TestAnEditKeepsUnknownFields(t *testing.T) {
	r := tolerant(t, newer)
	if want := []string{"labels", "spec.hedge", "spec.endpoints[0].color", "spec.endpoints[1].color"}; !slices.Equal(
		r.Unknown.Fields, want) {
		t.Errorf("unknown %v, want %v", r.Unknown.Fields, want)
	}
	if got := jsonOf(t, r); got != newer {
		t.Errorf("unchanged it is\n%s, want\n%s", got, newer)
	}
	p := *r.Spec.(*Pool)
	p.Site = ""
	nine := 9
	c := Endpoint{Name: "c", Addresses: p.Endpoints[0].Addresses}
	p.Endpoints = []Endpoint{p.Endpoints[1], c}
	p.Endpoints[0].Weight = &nine
	edited := r.With(&p)
	want := `{"kind":"Pool","tenant":"shop","name":"eu","labels":{"x":1},"spec":{"hedge":{"after":"5ms"},` +
		`"endpoints":[{"name":"b","addresses":["192.0.2.2"],"color":"blue","weight":9},{"name":"c","addresses":["192.0.2.1"]}]}}`
	if got := jsonOf(t, edited); got != want {
		t.Errorf("edited it is\n%s, want\n%s", got, want)
	}
	if again := tolerant(t, want); jsonOf(t, again) != want || len(again.Unknown.Fields) != 3 {
		t.Errorf("read again: %v %s", again.Unknown, jsonOf(t, again))
	}
	var paths []string
	for _, c := range Diff(r, edited) {
		paths = append(paths, c.Path)
	}
	if want := []string{"spec.endpoints[a]", "spec.endpoints[b].weight", "spec.endpoints[c]", "spec.site"}; !slices.Equal(paths, want) {
		t.Errorf("differs in %v, want %v", paths, want)
	}
	lost := Diff(r, &Resource{Key: r.Key, Spec: r.Spec})
	if len(lost) != 4 || lost[0].Path != "labels.x" {
		t.Errorf("what is lost: %v", lost)
	}
	known := strings.NewReplacer(`"labels":{"x":1},`, "", `"hedge":{"after":"5ms"},`, "", `,"color":"red"`, "", `,"color":"blue"`, "")
	if plain := tolerant(t, known.Replace(newer)); plain.Unknown != nil {
		t.Errorf("a form that is understood keeps its text: %v", plain.Unknown.Fields)
	}
}

// Lists without names are matched by their places.
func TestAnEditKeepsUnknownFieldsOfUnnamedParts(t *testing.T) {
	const text = `{"kind":"Service","tenant":"shop","name":"web","spec":{"host":"a.example.","rules":[` +
		`{"when":{"geo":["EU"],"hour":[1,2]},"pools":["eu",{"pool":"us","weight":3,"burst":1}]},{"pools":["us"]}]}}`
	r := tolerant(t, text)
	s := *r.Spec.(*Service)
	s.Rules = slices.Clone(s.Rules)
	s.Rules[0].Pools = []Target{{Pool: "eu"}, {Pool: "us", Weight: 4}}
	if got, want := jsonOf(t, r.With(&s)), strings.Replace(text, `"weight":3`, `"weight":4`, 1); got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
}

func TestAnUnknownKindIsKept(t *testing.T) {
	const text = `{"kind":"Flux","tenant":"shop","name":"x","spec":{"b":[1.50,true,null,"<ü>"],"a":{}}}`
	r := tolerant(t, text)
	if _, ok := r.Spec.(*Opaque); !ok || r.Key != (Key{"shop", "Flux", "x"}) || Validate(r) != nil {
		t.Fatalf("%+v", r)
	}
	if got := jsonOf(t, r); tolerant(t, got).Spec.(*Opaque) == nil ||
		got != strings.NewReplacer("<", `\u003c`, ">", `\u003e`).Replace(text) {
		t.Errorf("it is %s", got)
	}
	if _, err := DecodeJSON([]byte(text), Strict); err == nil {
		t.Error("whoever declares it is not told")
	}
	if d := Diff(r, tolerant(t, jsonOf(t, r))); len(d) != 0 {
		t.Errorf("it differs from itself: %v", d)
	}
}

func TestGenerationInFiles(t *testing.T) {
	const text = "kind: Site\ntenant: platform\nname: fra\ngeneration: 41\nspec: {}\n"
	rs, err := Decode("a.yaml", []byte(text))
	if err != nil || rs[0].Generation != 41 || rs[0].Origin.LineOf("generation") != 4 {
		t.Fatalf("%+v, %v", rs, err)
	}
	if out, err := EncodeYAML(rs); err != nil || string(out) != text {
		t.Errorf("written: %s, %v", out, err)
	}
	if strings.Contains(jsonOf(t, rs[0]), "generation") {
		t.Error("it is stored")
	}
	for _, bad := range []string{"0", "-1", "x", "1.5"} {
		_, err := Decode("a.yaml", []byte(strings.Replace(text, "41", bad, 1)))
		if err == nil || !strings.HasPrefix(err.Error(), "a.yaml:4:") || !strings.Contains(err.Error(), "generation:") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
