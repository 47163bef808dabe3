// The order of a category's routes: dragging, the arrows, and which routes share the load. The form posts what is shown.
document.addEventListener("alpine:init", () => {
  Alpine.data("routeOrder", () => ({
    isChanged: false,

    init() {
      this.tidy();
    },

    rows() {
      return [...this.$refs.rows.children];
    },

    together(row) {
      return row.querySelector("input[name=together]");
    },

    dragged(event) {
      this.settle(event.item, event.oldIndex, event.newIndex);
    },

    shift(row, step) {
      const before = this.rows().indexOf(row);
      const now = before + step;
      if (now < 0 || now >= this.rows().length) {
        return;
      }
      this.$refs.rows.insertBefore(row, step < 0 ? this.rows()[now] : this.rows()[now].nextSibling);
      this.settle(row, before, now);
    },

    // A route that moves leaves its group. Where it was the first of it, the next one is the first now.
    settle(row, before, now) {
      if (before === now) {
        return;
      }
      const next = this.rows()[before < now ? before : before + 1];
      if (!this.together(row).checked && next && next !== row) {
        this.together(next).checked = false;
      }
      this.together(row).checked = false;
      this.isChanged = true;
      this.tidy();
    },

    tidy() {
      this.rows().forEach((row, place) => {
        this.together(row).disabled = place === 0;
        if (place === 0) {
          this.together(row).checked = false;
        }
        row.querySelector("[data-arrow=up]").disabled = place === 0;
        row.querySelector("[data-arrow=down]").disabled = place === this.rows().length - 1;
      });
    },
  }));
});
