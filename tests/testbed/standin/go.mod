// The stand-ins use the standard library only: they are linked statically into
// a tiny image, must build without a network, and need nothing of client-go but
// the wording of its errors. Links and routes are set with the host's `ip`.
module kubectl-calico.invalid/standin

go 1.24
