package spec

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestEveryFieldIsTold: of each kind, docs/resources.md names in the kind's part what can be declared: by itself, or behind what it belongs
// to, as in `transfer.allow`. What a rule has stands in a table of its own, so that it is not taken for what the service has.
func TestEveryFieldIsTold(t *testing.T) {
	data, err := os.ReadFile("../../docs/resources.md")
	if err != nil {
		t.Fatal(err)
	}
	setByControl := map[string]bool{"Zone.memberOf": true, "Zone.expired": true}
	seen, walked := 0, map[reflect.Type]bool{}
	var walk func(typ reflect.Type, doc, path string)
	walk = func(typ reflect.Type, doc, path string) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || typ.PkgPath() != reflect.TypeFor[Rule]().PkgPath() {
			return
		}
		switch typ {
		case reflect.TypeFor[Rule]():
			_, doc, _ = strings.Cut(string(data), "\nOf a rule:\n\n")
			doc, _, _ = strings.Cut(doc, "\n\n")
			doc += "`geo` `asn` `map`" // which `when` names
		case reflect.TypeFor[Target]():
			if walked[typ] {
				return // it holds others of its kind
			}
			walked[typ] = true
			_, doc, _ = strings.Cut(string(data), "\nOf an entry of pools:\n\n")
			doc, _, _ = strings.Cut(doc, "\n\n")
		}
		for _, f := range reflect.VisibleFields(typ) {
			name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			if at := path + "." + name; name != "" && !setByControl[at] {
				told := strings.Contains(doc, "`"+name+"`") || strings.Contains(doc, "."+name+"`") || strings.Contains(doc, "`"+name+".")
				if seen++; !told {
					t.Errorf("%s: docs/resources.md does not say what it is for: add a row with `%s`", at, name)
				}
				walk(f.Type, doc, at)
			}
		}
	}
	for _, k := range Kinds {
		_, doc, _ := strings.Cut(string(data), "\n## "+string(k))
		doc, _, _ = strings.Cut(doc, "\n## ")
		walk(reflect.TypeOf(New(k)), doc, string(k))
	}
	if seen < 100 {
		t.Fatalf("only %d fields were looked at", seen)
	}
}
