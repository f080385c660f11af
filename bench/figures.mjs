/** The value that such a share of the list lies below: 0.5 for the median. */
export const at = (list, share) => list.toSorted((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * share))];
