package operator

import (
	"encoding/json"
	"slices"
)

// Object is a Kubernetes object, or a part of one, as JSON has it.
type Object map[string]any

// Part is the object below these keys, nil where there is none. Reading a nil
// Object is fine; writing it is not, which is what Ensure is for.
func (o Object) Part(keys ...string) Object {
	part := o
	for _, key := range keys {
		switch value := part[key].(type) {
		case Object:
			part = value
		case map[string]any:
			part = value
		default:
			return nil
		}
	}
	return part
}

// Ensure is the object below these keys, made where there is none.
func (o Object) Ensure(keys ...string) Object {
	part := o
	for _, key := range keys {
		if part.Part(key) == nil {
			part[key] = map[string]any{}
		}
		part = part.Part(key)
	}
	return part
}

// Text is the string below these keys, or "".
func (o Object) Text(keys ...string) string {
	last := len(keys) - 1
	text, _ := o.Part(keys[:last]...)[keys[last]].(string)
	return text
}

// Number is the number below these keys, or 0.
func (o Object) Number(keys ...string) int64 {
	last := len(keys) - 1
	switch number := o.Part(keys[:last]...)[keys[last]].(type) {
	case float64:
		return int64(number)
	case int:
		return int64(number)
	case int64:
		return number
	}
	return 0
}

// Bool is the boolean below these keys, nil where there is none.
func (o Object) Bool(keys ...string) *bool {
	last := len(keys) - 1
	if value, ok := o.Part(keys[:last]...)[keys[last]].(bool); ok {
		return &value
	}
	return nil
}

// List is the objects in the list below these keys; what is no object is left out.
func (o Object) List(keys ...string) []Object {
	last := len(keys) - 1
	values, _ := o.Part(keys[:last]...)[keys[last]].([]any)
	var list []Object
	for _, value := range values {
		if one := (Object{"": value}).Part(""); one != nil {
			list = append(list, one)
		}
	}
	return list
}

// keep leaves only those objects in the list that it is told to, and removes an empty list.
func (o Object) keep(key string, wanted func(Object) bool) {
	values, _ := o[key].([]any)
	values = slices.DeleteFunc(values, func(value any) bool { return !wanted(Object{"": value}.Part("")) })
	if len(values) == 0 {
		delete(o, key)
		return
	}
	o[key] = values
}

// add appends to a list.
func (o Object) add(key string, value any) {
	values, _ := o[key].([]any)
	o[key] = append(values, value)
}

// Copy is a deep copy, with every value as JSON would bring it.
func (o Object) Copy() Object {
	data, err := json.Marshal(o)
	if err != nil {
		return nil
	}
	var twin Object
	if json.Unmarshal(data, &twin) != nil {
		return nil
	}
	return twin
}
