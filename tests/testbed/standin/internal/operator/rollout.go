package operator

import "fmt"

// BPFVolumeName is the volume by which a DaemonSet is known to be ready for eBPF.
const BPFVolumeName = "bpffs"

// isRolloutCompleteWithBPFVolumes: the DaemonSet has the volume, and as many pods
// are updated and available as are scheduled. A node that is NotReady holds it up
// for as long as it is there. Without the guard, a status from before the change
// passes for one of after it.
func isRolloutCompleteWithBPFVolumes(daemonSet Object, guard bool) bool {
	status := daemonSet.Part("status")
	if guard && status.Number("observedGeneration") != daemonSet.Number("metadata", "generation") {
		return false
	}
	for _, volume := range daemonSet.List("spec", "template", "spec", "volumes") {
		if volume.Text("name") == BPFVolumeName {
			scheduled := status.Number("currentNumberScheduled")
			return scheduled == status.Number("updatedNumberScheduled") && scheduled == status.Number("numberAvailable")
		}
	}
	return false
}

// rolling says why a DaemonSet is still progressing, and nothing when it is there.
func rolling(daemonSet Object) string {
	name := fmt.Sprintf("DaemonSet %q", daemonSet.Text("metadata", "namespace")+"/"+daemonSet.Text("metadata", "name"))
	status := daemonSet.Part("status")
	generation, observed := daemonSet.Number("metadata", "generation"), status.Number("observedGeneration")
	desired, updated := status.Number("desiredNumberScheduled"), status.Number("updatedNumberScheduled")
	missing := desired - status.Number("numberAvailable")
	switch {
	case daemonSet == nil:
		return "Resources are not yet created"
	case generation > observed:
		return fmt.Sprintf("%s update is being processed (generation %d, observed generation %d)", name, generation, observed)
	case updated < desired:
		return fmt.Sprintf("%s update is rolling out (%d out of %d updated)", name, updated, desired)
	case missing > 0:
		return fmt.Sprintf("%s is not available (awaiting %d nodes)", name, missing)
	case desired == 0:
		return name + " is not yet scheduled on any nodes"
	}
	return ""
}
