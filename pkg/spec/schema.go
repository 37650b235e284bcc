package spec

import (
	"fmt"
	"hash/fnv"
	"reflect"
	"sync"
)

// reading is to be raised when a stored resource comes to be read differently though no type changes.
const reading = 1

// Schema names what this program reads of a stored resource: it is the same in two programs that read every resource alike.
var Schema = sync.OnceValue(func() string {
	h := fnv.New64a()
	seen := map[reflect.Type]bool{}
	var add func(t reflect.Type)
	add = func(t reflect.Type) {
		fmt.Fprintf(h, "%s %s;", t, t.Kind())
		if seen[t] {
			return
		}
		seen[t] = true
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice:
			add(t.Elem())
		case reflect.Map:
			add(t.Key())
			add(t.Elem())
		case reflect.Struct:
			for i := range t.NumField() {
				f := t.Field(i)
				fmt.Fprintf(h, "%s %q;", f.Name, f.Tag)
				if f.IsExported() {
					add(f.Type)
				}
			}
		}
	}
	for _, k := range Kinds {
		add(reflect.TypeOf(newSpec(k)))
	}
	return fmt.Sprintf("%d-%016x", reading, h.Sum64())
})
