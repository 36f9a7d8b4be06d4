/** How to restore without this software: one script and one page, which lie beside the backups in every store. */
export { assembleWayOut } from './assemble.ts';
export { placeWayOut, wayOutFiles } from './place.ts';
