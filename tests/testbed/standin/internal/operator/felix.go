package operator

import (
	"errors"
	"strconv"
)

// BPFOperatorAnnotation is how the operator recognises its own bpfEnabled.
const BPFOperatorAnnotation = "operator.tigera.io/bpfEnabled"

// bpfValidateAnnotations: the annotation and the field must both be absent, or
// say the same. Otherwise somebody else wrote the field.
func bpfValidateAnnotations(felix Object) error {
	field := felix.Bool("spec", "bpfEnabled")
	text := felix.Text("metadata", "annotations", BPFOperatorAnnotation)
	if text == "" && field == nil {
		return nil
	}
	if text != "" {
		written, err := strconv.ParseBool(text)
		if err != nil {
			return err
		}
		if field != nil && *field == written {
			return nil
		}
	}
	return errors.New(`unable to set bpfEnabled: FelixConfiguration "default" has been modified by someone else, refusing to override potential user configuration`)
}

// setBPFEnabledOnFelixConfiguration returns the one patch of field and annotation.
func setBPFEnabledOnFelixConfiguration(felix Object, enabled bool) (Object, error) {
	if err := bpfValidateAnnotations(felix); err != nil {
		return nil, err
	}
	return Object{
		"metadata": Object{"annotations": Object{BPFOperatorAnnotation: strconv.FormatBool(enabled)}},
		"spec":     Object{"bpfEnabled": enabled},
	}, nil
}

func isTrue(value *bool) bool { return value != nil && *value }

// setBPFUpdatesOnFelixConfiguration is the second phase: eBPF goes on when
// calico-node is rolled out with its mounts, and off at once. A nil patch means
// that there is nothing to do, or not yet. The field is only ever compared with
// the annotation when it is to be written.
func setBPFUpdatesOnFelixConfiguration(installation, felix Object, rolledOut bool) (Object, error) {
	field := felix.Bool("spec", "bpfEnabled")
	if bpfEnabled(installation) {
		if isTrue(field) || !rolledOut {
			return nil, nil
		}
		return setBPFEnabledOnFelixConfiguration(felix, true)
	}
	if field != nil && !*field {
		return nil, nil
	}
	return setBPFEnabledOnFelixConfiguration(felix, false)
}

// setDefaultsOnFelixConfiguration fills what is open, and turns eBPF on at once
// where there is nothing to roll out (no DaemonSet yet) or where the DaemonSet has
// it from the environment variable of an operator before 1.34.
func setDefaultsOnFelixConfiguration(installation, felix, daemonSet Object) (Object, error) {
	patch := Object{}
	for key, value := range map[string]any{"healthPort": 9099, "vxlanVNI": 4096} {
		if felix.Part("spec")[key] == nil {
			patch.Ensure("spec")[key] = value
		}
	}
	fresh := daemonSet == nil && bpfEnabled(installation)
	if (fresh || hasBPFVariable(daemonSet)) && !isTrue(felix.Bool("spec", "bpfEnabled")) {
		on, err := setBPFEnabledOnFelixConfiguration(felix, true)
		if err != nil {
			return nil, err
		}
		patch["metadata"] = on["metadata"]
		patch.Ensure("spec")["bpfEnabled"] = true
	}
	if len(patch) == 0 {
		return nil, nil
	}
	return patch, nil
}

func hasBPFVariable(daemonSet Object) bool {
	for _, container := range daemonSet.List("spec", "template", "spec", "containers") {
		for _, variable := range container.List("env") {
			if variable.Text("name") == "FELIX_BPFENABLED" && variable.Text("value") == "true" {
				return true
			}
		}
	}
	return false
}

// setNftablesMode (1.40 and newer) always overwrites the field, at the beginning
// of a reconcile: long before eBPF is on.
func setNftablesMode(installation, felix Object) Object {
	mode := "Disabled"
	switch installation.Text("spec", "calicoNetwork", "linuxDataplane") {
	case "BPF", "Nftables":
		mode = "Enabled"
	}
	if felix.Text("spec", "nftablesMode") == mode {
		return nil
	}
	return Object{"spec": Object{"nftablesMode": mode}}
}
