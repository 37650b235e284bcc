package compile

import "reflect"

// inside gives what a value of another package holds and shows nobody: fields of structs, also behind pointers.
func inside(value any, fields ...string) reflect.Value {
	v := reflect.ValueOf(value)
	for _, field := range fields {
		v = reflect.Indirect(v).FieldByName(field)
	}
	return v
}
