package operator

import (
	"fmt"
	"time"
)

// Degraded is what a reconcile stopped at: reason and message of the condition.
type Degraded struct{ Reason, Message string }

func degraded(reason, message string, err error) *Degraded {
	return &Degraded{reason, fmt.Sprintf("%s: %s", message, err)}
}

// conditions are Available, Degraded and Progressing of a TigeraStatus. What is
// Degraded may be Available all the same, because the pods that run go on; it is
// not Progressing, because nothing will change by itself.
func conditions(stop *Degraded, waiting string, generation int64) []Object {
	available, progressing, down := nothing("Available"), nothing("Progressing"), nothing("Degraded")
	if waiting == "" {
		set(available, "AllObjectsAvailable", "All objects available")
	}
	switch {
	case stop != nil:
		set(down, stop.Reason, stop.Message)
	case waiting != "":
		set(progressing, "ResourceNotReady", waiting)
	}
	all := []Object{available, down, progressing}
	for _, condition := range all {
		condition["observedGeneration"] = generation
	}
	return all
}

func nothing(kind string) Object {
	return Object{"type": kind, "status": "False", "reason": "NotApplicable", "message": "Not Applicable"}
}

func set(condition Object, reason, message string) {
	condition["status"], condition["reason"], condition["message"] = "True", reason, message
}

// stamp gives every condition the time of its last change, and says whether
// anything differs from what was there.
func stamp(wanted, found []Object, now time.Time) bool {
	differs := len(wanted) != len(found)
	for _, condition := range wanted {
		condition["lastTransitionTime"] = now.UTC().Format(time.RFC3339)
		for _, old := range found {
			if old.Text("type") != condition.Text("type") {
				continue
			}
			if old.Text("status") == condition.Text("status") {
				condition["lastTransitionTime"] = old.Text("lastTransitionTime")
			}
			same := old.Text("status") == condition.Text("status") && old.Text("message") == condition.Text("message") &&
				old.Text("reason") == condition.Text("reason") &&
				old.Number("observedGeneration") == condition.Number("observedGeneration")
			differs = differs || !same
		}
	}
	return differs
}
